-- title: Findings too rare to judge
-- question: For which findings are there fewer curated positives than a figure needs?
-- waits: no
-- param fewer = 60: curated positives; with no error in 59, one may say at most 5 % wrong
SELECT c.target, s.split, count(*) AS curated, count(*) FILTER (c.status = 'present') AS positives,
    count(*) FILTER (c.status = 'uncertain') AS uncertain
FROM curated_labels c
JOIN splits s USING (report_id)
WHERE c.task = 'findings'
GROUP BY c.target, s.split
HAVING positives < $fewer
ORDER BY positives, c.target, s.split
