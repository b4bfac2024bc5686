import TransfusionCore

/// The ranks of a job as a table: each row holds one copy of the model (tensor parallel), each column the same part of
/// it for different data (data parallel).
///
/// Rows never leave a host.
public final class ProcessMesh {
    public let shape: MeshShape
    public let world: any Communicator
    /// The ranks with this rank's part of the model: they see different data and sum their gradients.
    public let data: any Communicator
    /// The ranks that hold this rank's copy of the model together: they see the same data.
    public let tensor: any Communicator

    /// Arranges the ranks of `world`. All of them call it with the same numbers.
    ///
    /// - Parameters:
    ///   - data: How many data-parallel parts; nil takes what `tensor` leaves.
    ///   - tensor: How many ranks share a model.
    /// - Throws: `MeshError` when the ranks cannot be arranged like this.
    public init(_ world: any Communicator, data: Int? = nil, tensor: Int = 1) throws {
        shape = try MeshShape(hosts: world.hosts, data: data, tensor: tensor)
        self.world = world
        // Neighbours in this order share a host as long as it has ranks left, however the launcher placed them.
        let order = (0..<world.size).sorted { (world.hosts[$0], $0) < (world.hosts[$1], $1) }
        guard let place = order.firstIndex(of: world.rank) else {
            throw MeshError("rank \(world.rank) is not among the \(world.size) ranks of the job")
        }
        self.tensor = try world.split(color: place / tensor, key: place, name: "tensor")
        self.data = try world.split(color: place % tensor, key: place, name: "data")
    }

    /// Where each rank runs and what it does, one line a rank, at rank 0; empty elsewhere. All ranks call it.
    /// - Parameter placement: This rank's host, processors and threads, in words.
    public func report(placement: String) throws -> [String] {
        let text = "data \(data.rank), tensor \(tensor.rank): \(placement)"
        return try world.gather([UInt8](text.utf8), root: 0, site: "placement").enumerated().map {
            "rank \($0): \(String(decoding: $1, as: UTF8.self))"
        }
    }
}
