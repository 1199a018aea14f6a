-- title: What an adapter was trained on
-- question: Whose labels went into this adapter, with which weight, and what did they cost?
-- waits: no
-- param adapter = '': hash, beginning of it, path or round; without one, the last round's
WITH rows AS (
    FROM adapter_lineage(coalesce(nullif($adapter, ''), (SELECT max_by(round_id, ("round", created_at)) FROM rounds)))
),
calls AS (
    SELECT source, labeler, sum(cost_usd) AS usd
    FROM (SELECT DISTINCT source, labeler, llm_call_id, cost_usd FROM rows) GROUP BY ALL
)
SELECT r.source, r.labeler, any_value(r.model) AS model, count(*) AS labels, count(DISTINCT r.report_id) AS reports,
    count(*) FILTER (r.status = 'present') AS positives, round(avg(r.weight), 3) AS mean_weight, any_value(c.usd) AS usd
FROM rows r JOIN calls c ON c.source = r.source AND c.labeler = r.labeler
GROUP BY r.source, r.labeler
ORDER BY labels DESC, r.source, r.labeler
