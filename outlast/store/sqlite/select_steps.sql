-- The steps at these places, a JSON array of arrays.
SELECT :step
FROM json_each(?) AS place
JOIN steps
  ON steps.run_id = json_extract(place.value, '$[0]')
 AND steps.generation = json_extract(place.value, '$[1]')
 AND steps.key = json_extract(place.value, '$[2]')
