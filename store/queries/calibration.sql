-- title: Whether confidence can be believed
-- question: Of labels given with a confidence of, say, 0.9 to 1, how many are right?
-- waits: no
-- param bins = 10: bins between 0 and 1
SELECT b.name AS labeler, left(b.labeler_id, 12) AS id, floor(least(l.confidence, 0.999999) * $bins) / $bins AS "from",
    count(*) AS labels, round(avg(l.confidence), 3) AS mean_confidence,
    round(avg((l.status = c.status)::INTEGER), 3) AS "right", round("right" - mean_confidence, 3) AS gap
FROM labels l
JOIN labelers b USING (labeler_id)
JOIN curated_labels c USING (report_id, task, target)
WHERE l.confidence IS NOT NULL AND l.task = 'findings'
GROUP BY b.name, b.labeler_id, "from"
ORDER BY labeler, id, "from"
