/// Collects the parameters of a model while its layers are made, in the order in which the forward pass uses them.
public final class ParameterBuilder {
    package private(set) var groups: [[Parameter]] = []
    private let tensorRank: Int
    private let tensorSize: Int
    private let rules: ParameterRules

    /// - Parameters:
    ///   - tensorRank: This rank's number in the tensor-parallel group.
    ///   - tensorSize: The size of that group.
    ///   - rules: Which of the parameters are trained.
    public init(tensorRank: Int = 0, tensorSize: Int = 1, rules: ParameterRules = ParameterRules()) {
        self.tensorRank = tensorRank
        self.tensorSize = tensorSize
        self.rules = rules
    }

    /// One parameter, split along `axis` over the tensor-parallel group, or whole.
    public func parameter(
        _ name: String, _ globalShape: [Int], splitAlong axis: Int? = nil, _ initialization: Parameter.Initialization
    ) -> Parameter {
        adjacent([name], [globalShape], splitAlong: axis, initialization)[0]
    }

    /// Several parameters that follow each other in memory without a gap, so that one matrix product can use them all.
    ///
    /// - Parameter parts: Into how many parts each can be split; as many as there are ranks unless given.
    public func adjacent(
        _ names: [String], _ globalShapes: [[Int]], splitAlong axis: Int? = nil, parts: [Int]? = nil,
        _ initialization: Parameter.Initialization
    ) -> [Parameter] {
        let group = names.indices.map { index in
            var shard = ShardSpec.replicated
            if let axis, tensorSize > 1 {
                shard = ShardSpec(axis: axis, rank: tensorRank, of: tensorSize, parts: parts?[index] ?? tensorSize)
            }
            return Parameter(
                names[index], globalShape: globalShapes[index], shard: shard, initialization: initialization,
                rules: rules)
        }
        groups.append(group)
        return group
    }
}

/// All parameters of a model on this rank, in one flat order: first the matrices that are trained, then the vectors that
/// are, each in the order of the forward pass; after them, in the same way, what is frozen.
///
/// Values, gradients and optimizer state are runs of that order, so a range of it is all that sharding needs.
public final class ParameterStore {
    public let parameters: [Parameter]
    /// The length of the flat order of what is trained, gaps for alignment included.
    public let count: Int
    /// Where the vectors begin in the flat order.
    public let vectorStart: Int
    /// Where what is frozen lies in the flat order.
    public let frozenRange: Range<Int>
    /// The type of the matrices.
    public let type: ElementType
    /// The values of the matrices that are trained, `[vectorStart]` elements of `type`.
    public private(set) var matrices: Tensor
    /// The values of the vectors that are trained, f32.
    public let vectors: Tensor
    /// The gradients of everything that is trained, f32; nil when the model is not.
    public let gradients: Tensor?
    /// The values of the matrices and of the vectors that are frozen.
    private var frozen: (matrices: Tensor, vectors: Tensor)

    private static let alignment = 16  // elements of f32 in 64 bytes

    /// How many elements take memory, gaps for alignment included.
    public struct ElementCounts: Sendable, Equatable {
        public var matrices = 0
        public var vectors = 0
        public var frozenMatrices = 0
        public var frozenVectors = 0

        public var trained: Int { matrices + vectors }
        public var frozen: Int { frozenMatrices + frozenVectors }

        /// Bytes of the values, with matrices of the given type.
        public func byteCount(_ type: ElementType) -> Int {
            (matrices + frozenMatrices) * type.byteCount + (vectors + frozenVectors) * 4
        }
    }

    /// Places the parameters and takes memory for them. Contents are undefined until initialised or loaded.
    ///
    /// - Parameters:
    ///   - type: `.f32` or `.bf16`, the type that matrices compute in.
    ///   - gradients: Makes the buffer for the gradients, given its length; nil when the model is not trained.
    public init(
        _ builder: ParameterBuilder, type: ElementType, allocator: CachingAllocator,
        gradients: ((Int) throws -> Tensor)?
    ) rethrows {
        let counts = Self.place(builder)
        vectorStart = counts.matrices
        self.type = type
        count = counts.trained
        frozenRange = count..<count + counts.frozen
        parameters = builder.groups.joined().sorted { $0.offset < $1.offset }
        matrices = Tensor([counts.matrices], type, allocator: allocator)
        vectors = Tensor([counts.vectors], .f32, allocator: allocator)
        frozen = (
            Tensor([counts.frozenMatrices], type, allocator: allocator),
            Tensor([counts.frozenVectors], .f32, allocator: allocator)
        )
        self.gradients = try gradients?(count)
        self.gradients?.fill(0)
        // Gaps belong to the flat order: they must never hold NaN, since whole ranges are reduced and updated.
        for values in [matrices, vectors, frozen.matrices, frozen.vectors] { values.fill(0) }
        for parameter in parameters {
            let values = parameter.isFrozen ? frozen : (matrices: matrices, vectors: vectors)
            let first = parameter.isFrozen ? count : 0
            let firstVector = first + values.matrices.count
            parameter.value =
                parameter.isMatrix
                ? values.matrices.view(at: parameter.offset - first, parameter.shape)
                : values.vectors.view(at: parameter.offset - firstVector, parameter.shape)
            parameter.gradient =
                parameter.isFrozen ? nil : self.gradients?.view(at: parameter.offset, parameter.shape)
        }
    }

    /// Gives each parameter its place in the flat order: groups of matrices, then groups of vectors, and again of those that
    /// are frozen.
    ///
    /// - Returns: How many elements they take.
    package static func place(_ builder: ParameterBuilder) -> ElementCounts {
        var offset = 0
        func place(isFrozen: Bool, areMatrices: Bool) -> Int {
            let start = offset
            for group in builder.groups where group[0].isFrozen == isFrozen && group[0].isMatrix == areMatrices {
                precondition(
                    group.allSatisfy { $0.isFrozen == isFrozen }, "\(group[0].name) is one product with others")
                for parameter in group {
                    parameter.offset = offset
                    offset += parameter.count
                }
                offset = (offset + alignment - 1) / alignment * alignment
            }
            return offset - start
        }
        var counts = ElementCounts()
        counts.matrices = place(isFrozen: false, areMatrices: true)
        counts.vectors = place(isFrozen: false, areMatrices: false)
        counts.frozenMatrices = place(isFrozen: true, areMatrices: true)
        counts.frozenVectors = place(isFrozen: true, areMatrices: false)
        return counts
    }

    /// Those that are trained, in the flat order.
    public var trained: ArraySlice<Parameter> { parameters.prefix { !$0.isFrozen } }

    /// Bytes of all values.
    public var byteCount: Int {
        [matrices, vectors, frozen.matrices, frozen.vectors].reduce(0) { $0 + $1.byteCount }
    }

    /// The number of parameters of the whole model.
    public var globalCount: Int { parameters.reduce(0) { $0 + $1.globalCount } }

    /// Gives back the memory of the matrices but for those that are named, which get memory of their own. The others have no
    /// values any more.
    package func release(keeping kept: [Parameter], allocator: CachingAllocator) {
        precondition(gradients == nil, "a model that is trained needs its weights")
        for parameter in parameters where parameter.isMatrix {
            guard kept.contains(where: { $0 === parameter }) else {
                parameter.value = nil
                continue
            }
            let own = Tensor(parameter.shape, type, allocator: allocator)
            own.bytes.copyMemory(from: UnsafeRawBufferPointer(parameter.value.bytes))
            parameter.value = own
        }
        matrices = Tensor([0], type, allocator: allocator)
        frozen.matrices = Tensor([0], type, allocator: allocator)
        allocator.trim()
    }

    public func initialize(seed: UInt64) {
        for parameter in parameters { parameter.initialize(seed: seed) }
    }

    public subscript(name: String) -> Parameter? {
        parameters.first { $0.name == name }
    }
}
