-- title: Reports that are in the store more than once
-- question: Which reports have the same text, and are all of them in the same split?
-- waits: no
WITH texts AS (
    SELECT r.report_id, r.subject_id, s.split,
        md5(concat_ws('|', r.indication, r.findings, r.impression, r.text)) AS digest
    FROM reports r LEFT JOIN splits s USING (report_id)
)
SELECT count(*) AS reports, count(DISTINCT subject_id) AS subjects, count(DISTINCT split) AS splits,
    list(report_id ORDER BY report_id)[1:5] AS such_as
FROM texts
GROUP BY digest
HAVING reports > 1
ORDER BY reports DESC, such_as
LIMIT 50
