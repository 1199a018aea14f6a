-- title: Labels that are wrong, and who gave them
-- question: Which labels contradict the curated one about whether the finding is there, the surest first?
-- waits: no
-- param target = '': one finding; without one, all
-- param most = 50: how many to list
SELECT l.target, b.name AS labeler, l.status AS said, c.status AS curated, round(l.confidence, 3) AS confidence,
    l.evidence[1].quote AS quote, l.label_id
FROM labels l
JOIN labelers b USING (labeler_id)
JOIN curated_labels c USING (report_id, task, target)
WHERE b.kind <> 'human' AND l.task = 'findings' AND (l.target = $target OR $target = '')
    AND (l.status = 'present') <> (c.status = 'present')
    AND (l.status <> 'unmentioned' OR l.scope = 'full') -- who has not read all of the report may be silent
ORDER BY l.confidence DESC NULLS LAST, l.target, labeler, l.label_id
LIMIT $most
