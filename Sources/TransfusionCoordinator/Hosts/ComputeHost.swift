internal import Foundation
internal import TransfusionConfig

/// A host that ranks may run on.
public struct ComputeHost: Sendable, Codable, Equatable, Hashable {
    /// The name or address that it is reached at, behind the name of another user and an "@" where one is given.
    public var name: String
    /// How many ranks it takes.
    public var slots: Int

    public init(name: String, slots: Int) {
        self.name = name
        self.slots = slots
    }

    /// The name of the host that the coordinator itself runs on.
    static let localName = "localhost"

    public var isLocal: Bool { name == Self.localName }

    /// `name` without a user.
    var address: String { String(name[(name.lastIndex(of: "@").map(name.index(after:)) ?? name.startIndex)...]) }

    /// Whether another user is wanted there.
    var hasUser: Bool { name.contains("@") }

    /// Hosts with one name each: whatever this host is called in a list, it is one and local.
    public static func unified(_ hosts: [ComputeHost]) -> [ComputeHost] {
        hosts.reduce(into: []) { unified, host in
            let name = LocalAddress.isThisHost(host.address) ? localName : host.name
            if let index = unified.firstIndex(where: { $0.name == name }) {
                unified[index].slots += host.slots
            } else {
                unified.append(ComputeHost(name: name, slots: host.slots))
            }
        }
    }

    /// Refuses names with which Open MPI 4.1 ends before anything is launched: longer ones overflow a buffer of it, and
    /// addresses of IP version 6 it takes for a name with a number of slots.
    /// - Parameter own: The name of this host.
    static func requireUsableNames(_ hosts: [ComputeHost], own: String = hostName) throws(CommandFailure) {
        guard own.utf8.count <= longestName else {
            throw CommandFailure(
                "\(own): this host's name has \(own.utf8.count) characters, and Open MPI ends with more than \(longestName); "
                    + "give it a shorter one with 'hostname NAME'", .wrongUse)
        }
        for host in hosts where host.address.utf8.count > longestName {
            throw CommandFailure(
                "\(host.address): this name of a host has \(host.address.utf8.count) characters, and Open MPI ends with more "
                    + "than \(longestName); name its address, or a short name from /etc/hosts", .wrongUse)
        }
        for host in hosts where host.address.contains(":") {
            throw CommandFailure(
                "\(host.address): Open MPI takes no address of IP version 6 for a host; give it a name in /etc/hosts, and "
                    + "use that", .wrongUse)
        }
    }

    private static let longestName = 56

    private static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The host that the coordinator itself runs on.
    public static func local(slots: Int) -> ComputeHost { ComputeHost(name: localName, slots: slots) }
}
