-- The steps at these places, a JSON array of arrays.
SELECT :step
FROM json_each(?)
JOIN steps
  ON steps.run_id = json_extract(json_each.value, '$[0]')
 AND steps.generation = json_extract(json_each.value, '$[1]')
 AND steps.key = json_extract(json_each.value, '$[2]')
