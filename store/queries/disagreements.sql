-- title: Where the teachers disagree, finding by finding
-- question: On which findings do a teacher's labelers differ most, and who is right where it is curated?
-- waits: no
WITH pairs AS (
    SELECT a.report_id, a.target, x.name AS labeler, a.status AS said, y.name AS other, b.status AS other_said
    FROM teacher_members m
    JOIN teacher_members n ON n.teacher_id = m.teacher_id AND n.seat = 'labeler' AND n.place > m.place
    JOIN labels a ON a.labeler_id = m.labeler_id AND a.task = 'findings'
    JOIN labels b ON b.labeler_id = n.labeler_id AND b.report_id = a.report_id
        AND b.task = a.task AND b.target = a.target
    JOIN labelers x ON x.labeler_id = m.labeler_id
    JOIN labelers y ON y.labeler_id = n.labeler_id
    WHERE m.seat = 'labeler' -- What a labeler does not mention in part of a report is silence, not dissent.
        AND (a.status <> 'unmentioned' OR a.scope = 'full') AND (b.status <> 'unmentioned' OR b.scope = 'full')
)
SELECT p.target, p.labeler, p.other, count(*) AS targets, count(*) FILTER (said <> other_said) AS differ,
    round(differ / targets, 3) AS share,
    count(*) FILTER (said <> other_said AND said = c.status) AS first_right,
    count(*) FILTER (said <> other_said AND other_said = c.status) AS other_right
FROM pairs p
LEFT JOIN curated_labels c ON c.report_id = p.report_id AND c.task = 'findings' AND c.target = p.target
GROUP BY p.target, p.labeler, p.other
ORDER BY share DESC, p.target, p.labeler, p.other
