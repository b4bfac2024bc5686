/// A host that ranks may run on.
public struct ComputeHost: Sendable, Codable, Equatable, Hashable {
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

    /// Hosts with one name each: whatever this host is called in a list, it is one and local.
    public static func unified(_ hosts: [ComputeHost]) -> [ComputeHost] {
        hosts.reduce(into: []) { unified, host in
            let name = LocalAddress.isThisHost(host.name) ? localName : host.name
            if let index = unified.firstIndex(where: { $0.name == name }) {
                unified[index].slots += host.slots
            } else {
                unified.append(ComputeHost(name: name, slots: host.slots))
            }
        }
    }

    /// The host that the coordinator itself runs on.
    public static func local(slots: Int) -> ComputeHost { ComputeHost(name: localName, slots: slots) }
}
