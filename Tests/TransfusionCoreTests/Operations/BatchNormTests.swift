import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct BatchNormTests {
    private struct Pass {
        var y: [Float] = []
        var dx: [Float] = []
        var dweight: [Float] = []
        var dbias: [Float] = []
    }

    /// The batch of a fixture, cut into so many parts of whole images.
    private func pass(_ fixture: Fixture, _ type: ElementType, parts: Int) throws -> Pass {
        let context = Context.forTests(type)
        let weight = context.parameter(fixture["weight"]), bias = context.parameter(fixture["bias"])
        func cut(_ values: Fixture.Values) -> [Tensor] {
            let count = values.floats.count / parts, shape = [values.shape[0] / parts] + values.shape.dropFirst()
            return (0..<parts).map { context.tensor(Array(values.floats[$0 * count..<($0 + 1) * count]), shape) }
        }
        let xs = cut(fixture["x"]), dys = cut(fixture["dy"])
        let statistics = try context.batchStatistics(xs, epsilon: 1e-5, group: SingleRank())
        try context.findSlopes(dys, xs, weight: weight, bias: bias, statistics, group: SingleRank())
        var result = Pass()
        for (x, dy) in zip(xs, dys) {
            let y = context.record { context.batchNorm(x, weight: weight, bias: bias, statistics) }
            #expect(y.type == type && y.shape == x.shape)
            result.y += y.floats()
            result.dx += try #require(try context.backward(seeds: [(y, dy)])[x]).floats()
        }
        result.dweight = weight.gradientFloats
        result.dbias = bias.gradientFloats
        return result
    }

    @Test(arguments: Fixture.all("batch_norm"), computingTypes)
    func agreesWithPyTorchHoweverTheBatchIsCut(_ fixture: Fixture, type: ElementType) throws {
        // A bf16 has 8 bits: an offset of a hundred deviations leaves nothing of them.
        if type == .bf16 && fixture.name == "offset" { return }
        let tolerance = type == .f32 ? 1e-5 : 1e-2
        for parts in Set([1, fixture["x"].shape[0]]) {
            let found = try pass(fixture, type, parts: parts)
            for (name, values) in [
                ("y", found.y), ("dx", found.dx), ("dweight", found.dweight), ("dbias", found.dbias),
            ] {
                #expect(relativeError(values, fixture[name].floats) < tolerance, "\(name) in \(parts) parts")
            }
        }
    }
}
