"""Where an address is: of what was imported (`hunt.places` makes the macro that knows it).

Source: Kusto Query Language, "geo_info_from_ip_address()".
"""

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function

# Where nothing was imported: known for no text; of a text it is an error. A query over real rows is refused before.
macro(
    "kf_places(x) := (CASE WHEN x <> '' THEN error('geo_info_from_ip_address() is not supported: it rests on "
    "a database of where addresses are')::VARCHAR END)"
)
# What tables say of an address, the smallest range first, of two alike that of the first table. As `intel.networks`
# chooses: the place of the smallest range that knows more than a country, else the country of the smallest; a place
# that does not say its country has that one.
macro("kf_where_known(found) := list_sort(list_filter(found, lambda f: f IS NOT NULL))")
macro("kf_where_place(known) := list_filter(known, lambda f: f.city <> '' OR f.latitude IS NOT NULL)[1]")
macro("kf_where_land(known) := list_filter(known, lambda f: f.country <> '')[1]")
macro(
    "kf_where_json(place, land) := CASE WHEN place IS NOT NULL OR land IS NOT NULL THEN json_object("
    "'country', coalesce(nullif(place.country, ''), land.country, ''), 'state', coalesce(place.state, ''), "
    "'city', coalesce(place.city, ''), 'latitude', place.latitude, 'longitude', place.longitude)::VARCHAR END"
)
function("geo_info_from_ip_address", "string -> dynamic", duckdb="kf_places({0})")
