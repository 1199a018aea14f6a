-- title: What a wrong label did
-- question: Which adapters were trained on this label, and how many pseudo-labels did those give?
-- waits: no
-- param label = '': the label; without one, a wrong one that was trained on
-- param report = '': its report, where you know it: in a large store the label is then found at once
SELECT kind, direct, "round", arm, adapter_hash, promoted, count(*) AS things, count(*) FILTER (selected) AS trained_on,
    any_value(reason) AS such_as
FROM label_impact(coalesce(nullif($label, ''), (
    SELECT min(w.label_id) FROM training_rows w JOIN curated_labels c USING (report_id, task, target)
    WHERE w.source = 'teacher' AND w.selected AND c.status <> w.status)),
    report := nullif($report, ''))
GROUP BY ALL
ORDER BY kind, "round", arm, adapter_hash
