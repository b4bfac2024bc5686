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

    var isLocal: Bool { name == Self.localName }

    /// The host that the coordinator itself runs on.
    public static func local(slots: Int) -> ComputeHost { ComputeHost(name: localName, slots: slots) }
}
