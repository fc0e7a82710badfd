// Package world reads a description of a house from a YAML file, makes a store match it, and writes a store as such a file.
//
// The rules of matching:
//   - Records are found by their keys: an organisation, policy, role and client by its own, a site inside its organisation, a
//     subject by `id`, else by its primary address. Applying twice changes nothing, nor does applying an export.
//   - A client is bound to an organisation or a device by its key, and goes with it: a file that has the client and prunes what it is
//     bound to is mistaken.
//   - What the file leaves out of a subject, organisation or client stays as it is: people change their own names and
//     passwords. An entry of policies, roles and services is the whole record.
//   - Nothing is deleted, unless pruning is asked for. Then each list that the file has is the whole list: records, sites,
//     memberships, aliases and factors that are not in it go. Lists that the file does not have are left alone.
//   - A plain `password` or `secret` is compared with what is stored by verifying it. With `must_change_password: true` it is a
//     first password: it is never put back over one that she chose. The operator vouches for passwords and addresses, so rule
//     and history are not asked, and `verified` is true for new subjects unless the file says otherwise.
//   - A mistake changes nothing: all of the file is one transaction. All mistakes are reported at once with file, line and field:
//     first those that the text alone shows, then those against what is stored and what the house takes, of each record the first.
//
// What a door keeps of a record, and the core does not understand, is JSON under the door's name. In the file it stands under the
// same name (`titan:`, `nx:`, `insights:`, `openwifi:`), patched into what is stored; other doors' under `attributes:`.
//
//	subject       titan     {"login_confirmation":bool,"login_confirmation_channel":int,"language":int,"settings":{…}}
//	              nx        {"newsletter":bool,"phone":string}
//	              insights  {"group":string,"user_type":string,"default_site":site key}
//	              openwifi  {"role":"root|partner|admin|…","notes":[…],…}; role root implies superadmin: true, and blackListed: true
//	                        suspended: true, unless the file says otherwise
//	membership    titan     {"role":"owner|administrator|user"}          in the file also titan_role: owner
//	organisation  nx        {"systems":[{"id":string,"name":string,"version":string,"status":string,"second_factor":bool}]}
//	              titan     {"features":{name:bool|int},"settings":{name:…},"type":0}
package world
