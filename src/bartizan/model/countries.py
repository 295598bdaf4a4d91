"""Country names as vendors write them, made the two letters that Graph uses, and the name of two letters.

Source: ISO 3166-1, English short names, with the older and shorter names that are common in logs.
"""

import re
from unicodedata import normalize

_NAMES = """
AF Afghanistan|AX Aland Islands|AL Albania|DZ Algeria|AS American Samoa|AD Andorra|AO Angola|AI Anguilla
AQ Antarctica|AG Antigua and Barbuda|AR Argentina|AM Armenia|AW Aruba|AU Australia|AT Austria|AZ Azerbaijan
BS Bahamas|BH Bahrain|BD Bangladesh|BB Barbados|BY Belarus|BE Belgium|BZ Belize|BJ Benin|BM Bermuda|BT Bhutan
BO Bolivia|BQ Bonaire|BA Bosnia and Herzegovina|BW Botswana|BR Brazil|IO British Indian Ocean Territory|BN Brunei
BN Brunei Darussalam|BG Bulgaria|BF Burkina Faso|BI Burundi|KH Cambodia|CM Cameroon|CA Canada|CV Cape Verde
CV Cabo Verde|KY Cayman Islands|CF Central African Republic|TD Chad|CL Chile|CN China|CX Christmas Island
CC Cocos (Keeling) Islands|CO Colombia|KM Comoros|CG Congo|CG Republic of the Congo
CD Democratic Republic of the Congo|CD DR Congo|CK Cook Islands|CR Costa Rica|CI Ivory Coast|CI Cote d'Ivoire
HR Croatia|CU Cuba|CW Curacao|CY Cyprus|CZ Czechia|CZ Czech Republic|DK Denmark|DJ Djibouti|DM Dominica
DO Dominican Republic|EC Ecuador|EG Egypt|SV El Salvador|GQ Equatorial Guinea|ER Eritrea|EE Estonia|SZ Eswatini
SZ Swaziland|ET Ethiopia|FK Falkland Islands|FO Faroe Islands|FJ Fiji|FI Finland|FR France|GF French Guiana
PF French Polynesia|GA Gabon|GM Gambia|GE Georgia|DE Germany|GH Ghana|GI Gibraltar|GR Greece|GL Greenland|GD Grenada
GP Guadeloupe|GU Guam|GT Guatemala|GG Guernsey|GN Guinea|GW Guinea-Bissau|GY Guyana|HT Haiti|VA Holy See
VA Vatican City|HN Honduras|HK Hong Kong|HK Hong Kong SAR|HU Hungary|IS Iceland|IN India|ID Indonesia|IR Iran
IR Iran, Islamic Republic of|IQ Iraq|IE Ireland|IM Isle of Man|IL Israel|IT Italy|JM Jamaica|JP Japan|JE Jersey
JO Jordan|KZ Kazakhstan|KE Kenya|KI Kiribati|XK Kosovo|KW Kuwait|KG Kyrgyzstan|LA Laos
LA Lao People's Democratic Republic|LV Latvia|LB Lebanon|LS Lesotho|LR Liberia|LY Libya|LI Liechtenstein
LT Lithuania|LU Luxembourg|MO Macao|MO Macau|MG Madagascar|MW Malawi|MY Malaysia|MV Maldives|ML Mali|MT Malta
MH Marshall Islands|MQ Martinique|MR Mauritania|MU Mauritius|YT Mayotte|MX Mexico|FM Micronesia|MD Moldova
MD Republic of Moldova|MC Monaco|MN Mongolia|ME Montenegro|MS Montserrat|MA Morocco|MZ Mozambique|MM Myanmar
MM Burma|NA Namibia|NR Nauru|NP Nepal|NL Netherlands|NL The Netherlands|NC New Caledonia|NZ New Zealand|NI Nicaragua
NE Niger|NG Nigeria|NU Niue|NF Norfolk Island|KP North Korea|MK North Macedonia|MK Macedonia
MP Northern Mariana Islands|NO Norway|OM Oman|PK Pakistan|PW Palau|PS Palestine|PS Palestinian Territory|PA Panama
PG Papua New Guinea|PY Paraguay|PE Peru|PH Philippines|PN Pitcairn|PL Poland|PT Portugal|PR Puerto Rico|QA Qatar
RE Reunion|RO Romania|RU Russia|RU Russian Federation|RW Rwanda|BL Saint Barthelemy|SH Saint Helena
KN Saint Kitts and Nevis|LC Saint Lucia|MF Saint Martin|PM Saint Pierre and Miquelon
VC Saint Vincent and the Grenadines|WS Samoa|SM San Marino|ST Sao Tome and Principe|SA Saudi Arabia|SN Senegal
RS Serbia|SC Seychelles|SL Sierra Leone|SG Singapore|SX Sint Maarten|SK Slovakia|SI Slovenia|SB Solomon Islands
SO Somalia|ZA South Africa|KR South Korea|KR Republic of Korea|KR Korea, Republic of|KR Korea|SS South Sudan
ES Spain|LK Sri Lanka|SD Sudan|SR Suriname|SE Sweden|CH Switzerland|SY Syria|SY Syrian Arab Republic|TW Taiwan
TJ Tajikistan|TZ Tanzania|TZ United Republic of Tanzania|TH Thailand|TL Timor-Leste|TL East Timor|TG Togo|TK Tokelau
TO Tonga|TT Trinidad and Tobago|TN Tunisia|TR Turkey|TR Turkiye|TM Turkmenistan|TC Turks and Caicos Islands
TV Tuvalu|UG Uganda|UA Ukraine|AE United Arab Emirates|GB United Kingdom|GB UK|GB Great Britain|GB England
US United States|US United States of America|US USA|UY Uruguay|UZ Uzbekistan|VU Vanuatu|VE Venezuela|VN Vietnam
VN Viet Nam|VG British Virgin Islands|VI U.S. Virgin Islands|WF Wallis and Futuna|EH Western Sahara|YE Yemen
ZM Zambia|ZW Zimbabwe
"""
_LETTERS = re.compile(r"[^a-z]+")
_BY_NAME = {
    _LETTERS.sub("", entry[3:].lower()): entry[:2] for line in _NAMES.strip().splitlines() for entry in line.split("|")
}
_CODES = frozenset(_BY_NAME.values())
_BY_CODE = {
    entry[:2]: entry[3:] for line in reversed(_NAMES.strip().splitlines()) for entry in reversed(line.split("|"))
}


def country_code(name: str | None) -> str | None:
    """Two letters for a name or for two letters in any case; None for what is neither."""
    if name is None:
        return None
    if len(name) == 2 and name.upper() in _CODES:
        return name.upper()
    folded = _LETTERS.sub("", normalize("NFKD", name[:100]).lower())
    return _BY_NAME.get(folded) or _BY_NAME.get(folded.removeprefix("the"))


def country_name(code: str) -> str:
    """The English short name of two letters; the letters themselves where they are no country's."""
    return _BY_CODE.get(code.upper(), code)
