-- title: What ran, and how it ended
-- question: Which runs wrote into this store, with which settings, for how long, and which of them never ended?
-- waits: yes
SELECT r.started_at AS started, r.command, coalesce(e.status, 'running, or killed') AS ended,
    round(epoch(e.ended_at) - epoch(r.started_at), 1) AS seconds, r.version, left(r.git_revision, 8) AS revision,
    r.seed, r.run_id
FROM runs r
LEFT JOIN run_ends e USING (run_id)
ORDER BY started, r.run_id
