package import TransfusionCore

extension Context {
    package static func forTests(_ type: ElementType = .f32, threads: Int = 2) -> Context {
        Context(pool: ThreadPool(threads: threads), type: type)
    }

    /// Seeded normal numbers in the context's type, or another.
    package func normal(_ shape: [Int], seed: UInt64, type: ElementType? = nil) -> Tensor {
        var values = [Float](repeating: 0, count: shape.reduce(1, *))
        values.withUnsafeMutableBufferPointer { Philox(seed: seed, purpose: .sampling).fillNormal($0) }
        return tensor(values, shape, type)
    }

    /// The values of a fixture in the context's type, or another.
    package func tensor(_ values: Fixture.Values, _ type: ElementType? = nil) -> Tensor {
        tensor(values.floats, values.shape, type)
    }

    /// Parameters with gradients, adjacent in memory, that hold the values of a fixture.
    package func parameters(_ values: [Fixture.Values]) -> [Parameter] {
        let builder = ParameterBuilder()
        let parameters = builder.adjacent(values.indices.map { "p\($0)" }, values.map(\.shape), .zeros)
        let store = ParameterStore(builder, type: type, allocator: allocator) {
            Tensor([$0], .f32, allocator: self.allocator)
        }
        precondition(store.parameters.count == values.count)
        for (parameter, value) in zip(parameters, values) {
            value.floats.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
        return parameters
    }

    package func parameter(_ values: Fixture.Values) -> Parameter { parameters([values])[0] }

    /// The gradients that `dy` upstream of `y` gives; `y` was made while recording.
    package func gradients(of y: Tensor, _ dy: Fixture.Values, as type: ElementType? = nil) throws -> Gradients {
        try backward(seeds: [(y, tensor(dy, type ?? y.type))])
    }
}

extension Fixture.Values {
    package init(_ tensor: Tensor) {
        self.init(shape: tensor.shape, floats: tensor.floats())
    }

    package var width: Int { shape.last ?? 1 }
    package var rows: Int { floats.count / width }

    package func row(_ index: Int) -> ArraySlice<Float> { floats[index * width..<(index + 1) * width] }

    package func columns(_ range: Range<Int>) -> [Float] {
        (0..<rows).flatMap { floats[$0 * width + range.lowerBound..<$0 * width + range.upperBound] }
    }

    /// The rows of all parts beside each other.
    package static func joined(_ parts: [Fixture.Values]) -> Fixture.Values {
        var floats: [Float] = []
        for row in 0..<parts[0].rows {
            for part in parts { floats += part.row(row) }
        }
        return Fixture.Values(shape: [parts[0].rows, parts.reduce(0) { $0 + $1.width }], floats: floats)
    }
}

extension Parameter {
    package var gradientFloats: [Float] { gradient?.floats() ?? [] }
}

extension ElementType {
    /// What an operation may differ by from one computed in double precision.
    package var tolerance: Double { self == .f32 ? 2e-6 : 1e-2 }
}

package let computingTypes: [ElementType] = [.f32, .bf16]
