{{ config(materialized='incremental', incremental_strategy='insert_overwrite', partitioned_by=['part']) }}
SELECT id, {{ var('until') }} AS until, CASE WHEN id = 1 THEN 'first' ELSE 'later' END AS part
FROM {{ ref('named') }}
WHERE id <= {{ var('until') }}
{% if is_incremental() %}
  AND id > 1
{% endif %}
