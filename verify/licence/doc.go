// Package licence checks Gatehouse's licence documents without a network: on a camera, a gateway, a box in a basement.
//
// A licence document is a compact JWS (RFC 7515) over JSON claims, signed with Ed25519 (EdDSA, RFC 8037). Its header holds
// alg, kid and a typ of its own and nothing else, so that no other token of the issuer passes for a licence and no header can
// bring its own key (RFC 8725). A device needs three things to check one: the document, the issuer's public keys (the JWKS that
// its discovery document names), and who the device is.
//
// # What a check costs
//
// Work is bounded before anything is believed: sizes first, then the header, then exactly one signature check, with the one key
// that kid names. Documents that fail earlier cost none.
//
// # Time
//
// A device without a network has only its own clock, and whoever owns the device can set it. So a Verifier remembers the newest
// time it knows of: the times at which the issuer made the documents and lists it has seen, and its own clock at each check. A clock
// that is behind that by more than a tolerance is refused with ErrClockRolledBack. What this is worth, honestly:
//
//   - A clock is never believed when it is before the issue of the document at hand, whatever happened to the memory.
//   - Who can delete the memory (or put back an older copy) can use a document for the length of its lease and grace once more
//     each time, by setting the clock back to the day of its issue. The memory carries no checksum under a key: the
//     key would lie on the same disk. Keep leases short where that matters.
//   - Who can run the clock at half speed, or stop it between checks, lives longer on a lease. Without a network nothing tells.
//   - A clock that ran ahead by mistake and was put right is refused as well, until real time catches up: at the latest when the
//     documents that were checked meanwhile are over. Deleting the memory mends that at once.
//
// # Revocation
//
// A revocation list is a second kind of signed document, which can be carried by hand. It says from which revocation
// epoch on documents of a licence or an organisation count. A Verifier that has seen a list refuses older ones, and none at all.
package licence
