-- title: Whom the adjudicator overrules, and whether it should
-- question: Against whom does the adjudicator decide, and how often is it right where the target is curated?
-- waits: no
WITH votes AS (
    SELECT report_id, task, target, verdict, unnest(weighed) AS label_id FROM adjudications
    WHERE verdict <> 'cannot_tell'
)
SELECT b.name AS voter, l.target, count(*) AS disputes, count(*) FILTER (v.verdict <> l.status) AS overruled,
    round(overruled / disputes, 3) AS share,
    count(c.status) FILTER (v.verdict <> l.status) AS curated,
    count(*) FILTER (v.verdict <> l.status AND v.verdict = c.status) AS rightly,
    count(*) FILTER (v.verdict <> l.status AND l.status = c.status) AS wrongly
FROM votes v
JOIN labels l ON l.label_id = v.label_id
JOIN labelers b ON b.labeler_id = l.labeler_id
LEFT JOIN curated_labels c ON c.report_id = v.report_id AND c.task = v.task AND c.target = v.target
GROUP BY b.name, l.target
ORDER BY overruled DESC, voter, l.target
