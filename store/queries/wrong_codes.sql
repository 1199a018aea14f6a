-- title: ICD-10-CM codes that do not exist or are too short
-- question: Which codes did a labeler make up, or give without the digits that a bill needs?
-- waits: yes
SELECT b.name AS labeler, l.icd10_check AS what, l.icd10 AS code, l.target AS disease, count(*) AS labels,
    min(l.report_id) AS such_as
FROM labels l
JOIN labelers b USING (labeler_id)
WHERE l.icd10_check IN ('category', 'unknown')
GROUP BY ALL
ORDER BY labels DESC, labeler, code, disease
