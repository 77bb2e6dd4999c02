// Package shadow is the device's side of the AWS IoT Device Shadow service over MQTT: it learns what the cloud wants
// (desired), tells the cloud what the device has (reported), and keeps both right over lost messages, duplicates,
// reconnections and deleted shadows. The protocol is that of the AWS IoT developer guide, "Device Shadow MQTT topics"
// and "Device Shadow service documents".
//
// The rules it lives by:
//
//   - A delta is a bell, GET is the truth. No delta's content is ever used: a delta shows only what differs from
//     reported, comes again after every update, may come late, twice or not at all. Whatever tells of a newer version
//     leads to one GET; a storm of bells leads to one GET in flight and one more after it.
//   - Content decides, not versions. OnDesired is called when the desired state is another than before, compared in
//     canonical form, so the same delta coming again leads to nothing.
//   - Versions only tell old from new. What is strictly older than the newest version heard of is left out, but the
//     device never freezes on a high number: a deletion or a 404 starts the count again, an answer to GET that looks
//     old is asked for once more and then believed, and an old delta leads to a GET within a minute.
//   - Requests may fail in ways that leave the result unknown. Then the device asks what the cloud has and sends the
//     difference, so it never matters whether the lost request arrived.
//   - A refusal that will not go away by itself (400, 401, 403, 413, 415) is logged once with what to do, and tried
//     again only when something has changed; everything else is retried with exponential backoff and jitter.
//
// Requests for the document are sent with an empty payload. AWS accepts a clientToken there, but needs none, and none
// is needed here: every answer holds the whole document and is as good as any other of that version. A shadow that does
// not exist is created by the first Report; until then there is nothing worth writing to it.
package shadow
