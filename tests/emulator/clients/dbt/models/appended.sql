{{ config(materialized='incremental', incremental_strategy='append') }}
SELECT id, name FROM {{ ref('named') }}
WHERE id <= {{ var('until') }}
{% if is_incremental() %}
  AND id > (SELECT max(id) FROM {{ this }})
{% endif %}
