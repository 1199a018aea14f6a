-- title: How often each labeler is wrong
-- question: Of each labeler's labels that are curated too, how many miss a finding or claim one that is not there?
-- waits: no
-- param split = '': one split; without one, all
-- param corpus = '': one corpus; without one, all
SELECT b.name AS labeler, left(b.labeler_id, 8) AS id,
    -- Who does not mention a finding, and has not read all of the report, is silent: that is counted beside.
    count(*) FILTER (l.status = 'unmentioned' AND l.scope <> 'full') AS silent, count(*) - silent AS judged,
    count(*) FILTER (c.status = 'present' AND l.status <> 'present') - count(*) FILTER (
        c.status = 'present' AND l.status = 'unmentioned' AND l.scope <> 'full') AS missed,
    count(*) FILTER (c.status <> 'present' AND l.status = 'present') AS claimed,
    round((missed + claimed) / nullif(judged, 0), 4) AS wrong
FROM labels l
JOIN labelers b USING (labeler_id)
JOIN curated_labels c USING (report_id, task, target)
WHERE b.kind <> 'human' AND l.task = 'findings'
    AND ($split = '' OR l.report_id IN (SELECT report_id FROM splits WHERE split = $split))
    AND ($corpus = '' OR l.report_id IN (SELECT report_id FROM reports WHERE corpus = $corpus))
GROUP BY b.name, b.labeler_id
ORDER BY wrong DESC NULLS LAST, labeler, id
