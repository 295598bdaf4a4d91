"""Records come in: received, split, normalised, folded, stored.

What a bulk may hold, and what its parts become:

- JSON lines, a JSON array, one object (or several, printed over many lines), or plain lines; gzip or not; UTF-8 with or
  without a byte order mark, LF or CRLF; blank lines count for nothing.
- A record is what one line or array element holds, byte for byte. A JSON string is the record that it quotes.
- A line that is no JSON is a record of text. A record that its source cannot read is kept as a GenericEvents row with
  its text whole. A body that cannot be read at all (broken gzip, UTF-16, binary, half an array) is a 400 and stores
  nothing.
- The same record again is a repeat and changes nothing, whatever order it comes in; one with a known id and new
  content is the next version of its alert. A Graph object (an incident, a sign-in) that comes again with a later time
  of its own, or by a way that says when it was so, changes what its provider has changed since; what was done here
  stays until then.

Source: JSON Lines (jsonlines.org), RFC 8259, RFC 1952.
"""
