/// Collects the parameters of a model while its layers are made, in the order in which the forward pass uses them.
public final class ParameterBuilder {
    package private(set) var groups: [[Parameter]] = []
    private let tensorRank: Int
    private let tensorSize: Int

    /// - Parameters:
    ///   - tensorRank: This rank's number in the tensor-parallel group.
    ///   - tensorSize: The size of that group.
    public init(tensorRank: Int = 0, tensorSize: Int = 1) {
        self.tensorRank = tensorRank
        self.tensorSize = tensorSize
    }

    /// One parameter, split along `axis` over the tensor-parallel group, or whole.
    public func parameter(
        _ name: String, _ globalShape: [Int], splitAlong axis: Int? = nil, _ initialization: Parameter.Initialization
    ) -> Parameter {
        adjacent([name], [globalShape], splitAlong: axis, initialization)[0]
    }

    /// Several parameters that follow each other in memory without a gap, so that one matrix product can use them all.
    public func adjacent(
        _ names: [String], _ globalShapes: [[Int]], splitAlong axis: Int? = nil,
        _ initialization: Parameter.Initialization
    ) -> [Parameter] {
        let shard =
            axis == nil || tensorSize == 1
            ? ShardSpec.replicated : ShardSpec(axis: axis, index: tensorRank, count: tensorSize)
        let group = zip(names, globalShapes).map {
            Parameter($0, globalShape: $1, shard: shard, initialization: initialization)
        }
        groups.append(group)
        return group
    }
}

/// All parameters of a model on this rank, in one flat order: first the matrices, then the vectors, each in the order of
/// the forward pass.
///
/// Values, gradients and optimizer state are runs of that order, so a range of it is all that sharding needs.
public final class ParameterStore {
    public let parameters: [Parameter]
    /// The length of the flat order, gaps for alignment included.
    public let count: Int
    /// Where the vectors begin in the flat order.
    public let vectorStart: Int
    /// The type of the matrices.
    public let type: ElementType
    /// The values of the matrices, `[vectorStart]` elements of `type`.
    public let matrices: Tensor
    /// The values of the vectors, f32.
    public let vectors: Tensor
    /// The gradients of everything, f32; nil when the model is not trained.
    public let gradients: Tensor?

    private static let alignment = 16  // elements of f32 in 64 bytes

    /// Places the parameters and takes memory for them. Contents are undefined until initialised or loaded.
    ///
    /// - Parameters:
    ///   - type: `.f32` or `.bf16`, the type that matrices compute in.
    ///   - gradients: Makes the buffer for the gradients, given its length; nil when the model is not trained.
    public init(
        _ builder: ParameterBuilder, type: ElementType, allocator: CachingAllocator,
        gradients: ((Int) throws -> Tensor)?
    ) rethrows {
        let (vectorStart, vectorCount) = Self.place(builder)
        self.vectorStart = vectorStart
        self.type = type
        count = vectorStart + vectorCount
        parameters = builder.groups.joined().filter(\.isMatrix) + builder.groups.joined().filter { !$0.isMatrix }
        matrices = Tensor([vectorStart], type, allocator: allocator)
        vectors = Tensor([vectorCount], .f32, allocator: allocator)
        self.gradients = try gradients?(count)
        self.gradients?.fill(0)
        // Gaps belong to the flat order: they must never hold NaN, since whole ranges are reduced and updated.
        matrices.fill(0)
        vectors.fill(0)
        for parameter in parameters {
            parameter.value =
                parameter.isMatrix
                ? matrices.view(at: parameter.offset, parameter.shape)
                : vectors.view(at: parameter.offset - vectorStart, parameter.shape)
            parameter.gradient = self.gradients?.view(at: parameter.offset, parameter.shape)
        }
    }

    /// Gives each parameter its place in the flat order: groups of matrices, then groups of vectors.
    ///
    /// - Returns: How many elements both take, gaps for alignment included.
    package static func place(_ builder: ParameterBuilder) -> (matrices: Int, vectors: Int) {
        var offset = 0
        func place(_ groups: [[Parameter]]) {
            for group in groups {
                for parameter in group {
                    parameter.offset = offset
                    offset += parameter.count
                }
                offset = (offset + alignment - 1) / alignment * alignment
            }
        }
        place(builder.groups.filter { $0[0].isMatrix })
        let vectorStart = offset
        place(builder.groups.filter { !$0[0].isMatrix })
        return (vectorStart, offset - vectorStart)
    }

    /// The number of parameters of the whole model.
    public var globalCount: Int { parameters.reduce(0) { $0 + $1.globalCount } }

    public func initialize(seed: UInt64) {
        for parameter in parameters { parameter.initialize(seed: seed) }
    }

    public subscript(name: String) -> Parameter? {
        parameters.first { $0.name == name }
    }
}
