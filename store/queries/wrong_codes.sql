-- title: ICD-10-CM codes that do not exist or are too short
-- question: Which codes did a labeler make up, or give without the digits that a bill needs?
-- waits: yes
WITH wrong AS (
    SELECT labeler_id, icd10_check, icd10, target, count(*) AS labels, min(report_id) AS report_id
    FROM labels
    WHERE icd10_check IN ('category', 'unknown')
    GROUP BY ALL
)
SELECT b.name AS labeler, w.icd10_check AS what, w.icd10 AS code, w.target AS disease, sum(w.labels)::BIGINT AS labels,
    min(w.report_id) AS such_as
FROM wrong w
JOIN labelers b USING (labeler_id)
GROUP BY ALL
ORDER BY labels DESC, labeler, code, disease
