-- title: Labels that are wrong, and who gave them
-- question: Which labels contradict the curated one about whether the finding is there, the surest first?
-- waits: no
-- param target = '': one finding; without one, all
-- param most = 50: how many to list
WITH wrong AS (
    SELECT l.target, b.name AS labeler, l.status AS said, c.status AS curated, l.confidence, l.report_id,
        l.labeler_id, l.rowid AS place
    FROM labels l
    JOIN labelers b USING (labeler_id)
    JOIN curated_labels c USING (report_id, task, target)
    WHERE b.kind <> 'human' AND l.task = 'findings' AND (l.target = $target OR $target = '')
        AND (l.status = 'present') <> (c.status = 'present')
        AND (l.status <> 'unmentioned' OR l.scope = 'full') -- who has not read all of the report may be silent
    ORDER BY l.confidence DESC NULLS LAST, l.target, labeler, l.report_id, l.labeler_id
    LIMIT $most
)
SELECT w.target, w.labeler, w.said, w.curated, round(w.confidence, 3) AS confidence, l.evidence[1].quote AS quote,
    w.report_id, l.label_id
FROM wrong w
JOIN labels l ON l.rowid = w.place
ORDER BY w.confidence DESC NULLS LAST, w.target, w.labeler, w.report_id, w.labeler_id
