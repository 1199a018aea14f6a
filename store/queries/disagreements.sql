-- title: Where the teachers disagree, finding by finding
-- question: On which findings do a teacher's labelers differ most, and who is right where it is curated?
-- waits: no
WITH members AS ( -- each two labelers once, however many teachers they sit in
    SELECT DISTINCT m.labeler_id, n.labeler_id AS other_id
    FROM teacher_members m
    JOIN teacher_members n ON n.teacher_id = m.teacher_id AND n.seat = 'labeler' AND n.place > m.place
    WHERE m.seat = 'labeler'
),
spoken AS ( -- What a labeler does not mention in part of a report is silence, not dissent.
    SELECT report_id, target, labeler_id, status FROM labels
    WHERE task = 'findings' AND (status <> 'unmentioned' OR scope = 'full')
),
counted AS (
    SELECT a.target, m.labeler_id, m.other_id, count(*) AS targets, count(*) FILTER (a.status <> b.status) AS differ,
        count(*) FILTER (a.status <> b.status AND a.status = c.status) AS first_right,
        count(*) FILTER (a.status <> b.status AND b.status = c.status) AS other_right
    FROM members m
    JOIN spoken a ON a.labeler_id = m.labeler_id
    JOIN spoken b ON b.labeler_id = m.other_id AND b.report_id = a.report_id AND b.target = a.target
    LEFT JOIN curated_labels c ON c.report_id = a.report_id AND c.task = 'findings' AND c.target = a.target
    GROUP BY a.target, m.labeler_id, m.other_id
)
SELECT k.target, x.name AS labeler, y.name AS other, k.targets, k.differ, round(k.differ / k.targets, 3) AS share,
    k.first_right, k.other_right, left(k.labeler_id, 12) AS id, left(k.other_id, 12) AS other_id
FROM counted k
JOIN labelers x ON x.labeler_id = k.labeler_id
JOIN labelers y ON y.labeler_id = k.other_id
ORDER BY share DESC, k.target, labeler, other, id, k.other_id
