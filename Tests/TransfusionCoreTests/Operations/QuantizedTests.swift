import Testing
import _TestUtilities

@testable import TransfusionCore

/// Weights as signed bytes.
@Suite struct QuantizedTests {
    /// Two weights beside each other, and their values before they are rounded.
    private func weights(_ context: Context) -> (parameters: [Parameter], store: ParameterStore, values: [Float]) {
        let builder = ParameterBuilder()
        let group = builder.adjacent(["a", "b"], [[33, 37], [301, 37]], .normal(standardDeviation: 0.5))
        let store = ParameterStore(builder, type: context.type, allocator: context.allocator, gradients: nil)
        store.initialize(seed: 5)
        // A row of zeros has no largest number.
        [Float](repeating: 0, count: 37).withUnsafeBufferPointer { group[0].writeMaster($0, at: 2 * 37) }
        return (group, store, group.flatMap { $0.value.floats() })
    }

    /// What the bytes of each row stand for.
    private func rounded(_ values: [Float]) -> [Double] {
        stride(from: 0, to: values.count, by: 37).flatMap { start -> [Double] in
            let row = values[start..<start + 37], largest = row.reduce(0) { max($0, abs($1)) }
            let inverse = largest > 0 ? 127 / largest : 0
            return row.map { Double(($0 * inverse).rounded(.toNearestOrEven)) * Double(largest / 127) }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 70], computingTypes) func computesWithRoundedWeights(
        _ rows: Int, _ type: ElementType
    ) {
        let context = Context.forTests(type)
        let (parameters, store, values) = weights(context)
        let exact = rounded(values), x = context.normal([rows, 37], seed: 8), xs = x.floats()
        for (row, value) in zip(values.indices, zip(values, exact)) where row % 37 == 0 {
            let largest = values[row..<row + 37].reduce(0) { max($0, abs($1)) }
            #expect(abs(Double(value.0) - value.1) <= 0.501 * Double(largest) / 127)
        }
        context.quantize(parameters)
        store.release(keeping: [], allocator: context.allocator)
        #expect(store.matrices.count == 0 && parameters[0].value == nil)
        let expected = (0..<rows).flatMap { row in
            (0..<334).map { output -> Float in
                var sum = 0.0
                for place in 0..<37 { sum += Double(xs[row * 37 + place]) * exact[output * 37 + place] }
                return Float(sum)
            }
        }
        let y = context.linear(x, parameters, result: .f32)
        #expect(y.shape == [rows, 334])
        // Many rows meet weights that are written out in the context's type.
        #expect(relativeError(y.floats(), expected) < (type == .f32 || rows <= 4 ? 1e-5 : 1e-2))
        let same = context.linear(x, parameters)
        #expect(same.type == type && relativeError(same.floats(), expected) < (type == .f32 ? 1e-5 : 1e-2))
    }

    @Test func whatIsKeptHasItsValues() {
        let context = Context.forTests()
        let (parameters, store, values) = weights(context)
        store.release(keeping: [parameters[1]], allocator: context.allocator)
        #expect(parameters[0].value == nil && parameters[1].value.floats() == Array(values[(33 * 37)...]))
    }
}
