{{ config(materialized='view') }}
SELECT t.id, t.name, t.amount, t.day, k.kind
FROM {{ source('delta', 't') }} AS t
JOIN {{ ref('kinds') }} AS k ON k.id = t.id
