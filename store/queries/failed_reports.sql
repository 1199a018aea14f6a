-- title: Reports that failed, and why
-- question: Which reports could a labeler not do, why, and were they done later?
-- waits: yes
SELECT f.reason, b.name AS labeler, count(DISTINCT f.report_id) AS reports,
    count(DISTINCT f.report_id) FILTER (f.report_id IN (SELECT report_id FROM committed)) AS done_since,
    any_value(f.report_id) AS such_as, max(f.created_at) AS last
FROM failures f
LEFT JOIN labelers b USING (labeler_id)
GROUP BY f.reason, b.name
ORDER BY reports DESC, f.reason, labeler
