internal import TransfusionConfig
package import TransfusionCore
package import TransfusionParallel

/// The ranks that train, and what each of them computes with.
package struct TrainingResources {
    package let mesh: ProcessMesh
    package let context: Context
    /// How many of the ranks share this host's processors.
    let ranksOnHost: Int

    var group: any Communicator { mesh.world }
    /// How many ranks there are of each kind.
    var layout: [String: Int] { ["data": mesh.shape.data, "tensor": mesh.shape.tensor] }

    package init(mesh: ProcessMesh, context: Context, ranksOnHost: Int) {
        self.mesh = mesh
        self.context = context
        self.ranksOnHost = ranksOnHost
    }

    /// - Throws: `SharedFailure` when the ranks cannot be arranged as the configuration asks.
    init(_ configuration: RunConfiguration, group: any Communicator, ranksOnHost: Int) throws {
        let parallel = configuration.parallel
        try group.agree("arranging the ranks") {
            _ = try MeshShape(hosts: group.hosts, data: parallel.data, tensor: parallel.tensor)
        }
        let mesh = try ProcessMesh(group, data: parallel.data, tensor: parallel.tensor)
        let threads = parallel.threads ?? max(1, CPUReport().cpuCount / ranksOnHost)
        // All ranks compute in one type, or their gradients would not belong together.
        let everyRankHasUnits = try !group.any(!CPUReport.hasBF16Units, site: "precision")
        let context = Context(
            pool: ThreadPool(threads: threads), type: configuration.precision.type(hasBF16Units: everyRankHasUnits),
            allocator: CachingAllocator(), tensorParallel: mesh.tensor, sequenceParallel: parallel.sequenceParallel)
        self.init(mesh: mesh, context: context, ranksOnHost: ranksOnHost)
    }

    /// Memory for the gradients of a model. Where ranks share a host they add up each other's in place.
    package func makeGradients(count: Int) throws -> Tensor {
        let buffer = try mesh.data.allocateShared(byteCount: count * ElementType.f32.byteCount)
        return Tensor([count], .f32, wrapping: buffer.bytes) { withExtendedLifetime(buffer) {} }
    }
}
