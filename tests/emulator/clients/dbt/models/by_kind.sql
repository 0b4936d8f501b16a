{{ config(materialized='table', format='parquet', partitioned_by=['kind']) }}
SELECT count(*) AS n, sum(amount) AS total, kind
FROM {{ ref('named') }}
GROUP BY kind
