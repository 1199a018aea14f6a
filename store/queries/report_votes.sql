-- title: Every vote on a report
-- question: Who said what of this report, how sure, and on which words?
-- waits: yes
-- param report = '': the report; without one, the last that an adjudicator decided on
-- param said = 'mentioned': 'mentioned' leaves out what a labeler does not mention; 'all' shows it
SELECT target, labeler_kind AS kind, labeler, status, round(confidence, 3) AS confidence,
    evidence[1].quote AS quote, label_id
FROM label_votes
WHERE report_id = coalesce(nullif($report, ''), (SELECT max(report_id) FROM adjudications))
    AND (status <> 'unmentioned' OR $said = 'all')
ORDER BY task DESC, target, kind, labeler, created_at, label_id
