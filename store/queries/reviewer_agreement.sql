-- title: Whether two reviewers agree
-- question: On targets that two people decided, how often do they say the same?
-- waits: no
SELECT a.reviewer, b.reviewer AS other, a.task, count(*) AS both_decided, count(*) FILTER (a.status = b.status) AS same,
    round(same / both_decided, 3) AS share,
    count(*) FILTER ((a.status = 'present') = (b.status = 'present')) AS same_if_present
FROM human_labels a
JOIN human_labels b USING (report_id, task, target)
WHERE a.reviewer < b.reviewer
GROUP BY a.reviewer, other, a.task
ORDER BY both_decided DESC, a.reviewer, other, a.task
