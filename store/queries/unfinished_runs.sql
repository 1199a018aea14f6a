-- title: Labels of runs that did not finish
-- question: How much did interrupted and failed runs leave behind, and was it finished since?
-- waits: no
WITH open_runs AS (
    SELECT r.run_id, r.command, r.started_at, coalesce(e.status, 'running, or killed') AS ended
    FROM runs r LEFT JOIN run_ends e USING (run_id)
    WHERE e.status IS NULL OR e.status <> 'finished'
)
SELECT o.started_at AS started, o.command, o.ended, count(l.label_id) AS labels, count(DISTINCT l.report_id) AS reports,
    count(DISTINCT l.report_id) FILTER (l.report_id NOT IN (SELECT report_id FROM committed)) AS not_committed, o.run_id
FROM open_runs o
LEFT JOIN labels l ON l.run_id = o.run_id
GROUP BY ALL
ORDER BY started, o.run_id
