import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct ConvolutionTests {
    private static func padding(_ fixture: Fixture) -> ConvolutionPadding {
        let sides = fixture["padding"].integers.map { Int($0) }
        return ConvolutionPadding(top: sides[0], left: sides[1], bottom: sides[2], right: sides[3])
    }

    @Test(arguments: Fixture.all("convolution"), computingTypes)
    func agreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.tensor(fixture["x"]), weight = context.parameter(fixture["weight"])
        let bias = fixture.values["bias"].map { context.parameter($0) }
        let residual = fixture.values["residual"].map { context.tensor($0) }
        let y = context.record {
            context.convolution(
                x, weight: weight, bias: bias, stride: Int(fixture.scalar("stride")), padding: Self.padding(fixture),
                addingTo: residual)
        }
        let tolerance = type == .f32 ? 1e-5 : 1e-2
        #expect(y.type == type && y.shape == fixture["y"].shape)
        #expect(relativeError(y.floats(), fixture["y"].floats) < tolerance)
        let gradients = try context.gradients(of: y, fixture["dy"])
        #expect(relativeError(try #require(gradients[x]).floats(), fixture["dx"].floats) < tolerance)
        #expect(relativeError(weight.gradientFloats, fixture["dweight"].floats) < tolerance)
        if let bias { #expect(relativeError(bias.gradientFloats, fixture["dbias"].floats) < tolerance) }
        if let residual {
            #expect(relativeError(try #require(gradients[residual]).floats(), fixture["dresidual"].floats) < tolerance)
        }
    }

    /// A gradient that is there already is added to, for pixels that no window has too.
    @Test(arguments: ["residual", "gaps", "down_odd"]) func gradientsAddToWhatIsThere(_ name: String) throws {
        let fixture = Fixture.one("convolution", name), context = Context.forTests()
        let x = context.tensor(fixture["x"]), weight = context.parameter(fixture["weight"])
        let bias = context.parameter(fixture["bias"])
        let y = context.record {
            context.convolution(
                x, weight: weight, bias: bias, stride: Int(fixture.scalar("stride")), padding: Self.padding(fixture))
        }
        let gradients = try context.backward(seeds: [
            (x, context.tensor(fixture["x"])), (y, context.tensor(fixture["dy"])),
        ])
        let sum = zip(fixture["dx"].floats, fixture["x"].floats).map { $0 + $1 }
        #expect(relativeError(try #require(gradients[x]).floats(), sum) < 1e-5)
    }

    @Test(arguments: computingTypes) func bitsDoNotDependOnTheThreads(_ type: ElementType) throws {
        func bits(threads: Int) throws -> [[Float]] {
            let context = Context.forTests(type, threads: threads)
            let x = context.normal([3, 41, 37, 20], seed: 1)
            let weight = context.parameter(Fixture.Values(context.normal([32, 20, 3, 3], seed: 2, type: .f32)))
            let bias = context.parameter(Fixture.Values(context.normal([32], seed: 3, type: .f32)))
            let scale = context.parameter(Fixture.Values(context.normal([32], seed: 4, type: .f32)))
            let y = context.record {
                context.groupNorm(
                    context.convolution(x, weight: weight, bias: bias, stride: 2, padding: ConvolutionPadding(1)),
                    weight: scale, bias: bias, groups: 4, epsilon: 1e-6, silu: true)
            }
            let gradients = try context.backward(seeds: [(y, context.normal(y.shape, seed: 5))])
            return [
                y.floats(), try #require(gradients[x]).floats(), weight.gradientFloats, bias.gradientFloats,
                scale.gradientFloats,
            ]
        }
        let one = try bits(threads: 1)
        #expect(try bits(threads: 2) == one)
        #expect(try bits(threads: 3) == one)
    }

    @Test func costsAreThoseOfTheProducts() throws {
        let planned = Context(
            pool: ThreadPool(threads: 1), type: .bf16, allocator: CachingAllocator(isSizesOnly: true))
        let values = Fixture.Values(shape: [8, 4, 3, 3], floats: [Float](repeating: 0, count: 288))
        let builder = ParameterBuilder()
        let weight = builder.parameter("weight", values.shape, .zeros)
        let store = ParameterStore(builder, type: .bf16, allocator: planned.allocator) {
            Tensor([$0], .f32, allocator: planned.allocator)
        }
        #expect(store.parameters.count == 1)
        let x = planned.empty([2, 16, 16, 4])
        let y = planned.record {
            planned.convolution(
                x, weight: weight, stride: 2, padding: ConvolutionPadding(top: 0, left: 0, bottom: 1, right: 1))
        }
        #expect(y.shape == [2, 8, 8, 8])
        try planned.backward(seeds: [(y, planned.empty(y.shape))])
        #expect(planned.work.operations == 3 * 2.0 * Double(2 * 8 * 8) * 288)
    }
}
