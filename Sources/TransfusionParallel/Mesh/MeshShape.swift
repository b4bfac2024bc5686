/// How many ranks work on different data, and how many share one model.
public struct MeshShape: Equatable, Sendable, CustomStringConvertible {
    /// Ranks (or groups of tensor-parallel ranks) that work on different parts of the batch.
    public let data: Int
    /// Ranks that hold one copy of the model together.
    public let tensor: Int

    public var description: String { "data \(data) × tensor \(tensor)" }

    /// The shape for ranks that run on the given hosts.
    ///
    /// - Parameters:
    ///   - hosts: The host number of each rank.
    ///   - data: How many data-parallel parts; nil takes what `tensor` leaves.
    ///   - tensor: How many ranks share a model. They must be on one host: they exchange activations in every layer.
    /// - Throws: `MeshError` with the numbers and what is possible.
    public init(hosts: [Int], data: Int?, tensor: Int) throws {
        let ranks = hosts.count
        let perHost = Dictionary(grouping: hosts, by: { $0 }).mapValues(\.count).sorted { $0.key < $1.key }.map(\.value)
        let possible = (1...ranks).filter { tensor in perHost.allSatisfy { $0 % tensor == 0 } }
        let splits = possible.map { "\(ranks / $0) × \($0)" }.joined(separator: ", ")
        guard tensor >= 1, data ?? 1 >= 1, (data ?? ranks / tensor) * tensor == ranks, ranks % tensor == 0 else {
            let wanted = data.map { "data \($0) × tensor \(tensor)" } ?? "tensor \(tensor)"
            throw MeshError("\(wanted) does not fit \(ranks) ranks; possible here (data × tensor): \(splits)")
        }
        guard possible.contains(tensor) else {
            let counts = Set(perHost).sorted().map(String.init).joined(separator: " and ")
            throw MeshError(
                "tensor \(tensor) does not divide the \(counts) ranks of each host, and tensor-parallel ranks must "
                    + "share a host; possible here (data × tensor): \(splits)")
        }
        self.data = ranks / tensor
        self.tensor = tensor
    }
}

/// Why ranks cannot be arranged as asked.
public struct MeshError: Error, CustomStringConvertible, Equatable {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}
