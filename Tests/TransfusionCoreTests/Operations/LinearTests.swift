import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct LinearTests {
    @Test(arguments: Fixture.all("linear"), computingTypes)
    func agreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.tensor(fixture["x"]), weight = context.parameter(fixture["weight"])
        let bias = fixture.values["bias"].map(context.parameter)
        let y = context.record { context.linear(x, [weight], biases: [bias].compactMap(\.self)) }
        #expect(y.type == type)
        #expect(relativeError(y.floats(), fixture["y"].floats) < type.tolerance)
        let gradients = try context.gradients(of: y, fixture["dy"])
        #expect(relativeError(try #require(gradients[x]).floats(), fixture["dx"].floats) < type.tolerance)
        #expect(relativeError(weight.gradientFloats, fixture["dweight"].floats) < type.tolerance)
        if let bias { #expect(relativeError(bias.gradientFloats, fixture["dbias"].floats) < type.tolerance) }
    }

    @Test(arguments: computingTypes) func severalWeightsAreOneProduct(type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.normal([70, 48], seed: 1)
        let values = (0..<3 as Range<UInt64>).map { part in
            Fixture.Values(context.normal([40, 48], seed: 10 + part, type: .f32))
        }
        let joined = context.parameters(values)
        let y = context.record { context.linear(x, joined) }
        let dy = context.normal([70, 120], seed: 2)
        let dx = try #require(try context.backward(seeds: [(y, dy)])[x]).floats()

        var sum = [Float](repeating: 0, count: dx.count)
        for part in 0..<3 {
            let weight = context.parameter(values[part])
            let alone = context.record { context.linear(x, [weight]) }
            let columns = part * 40..<(part + 1) * 40
            #expect(relativeError(alone.floats(), Fixture.Values(y).columns(columns)) < type.tolerance)
            let seed = context.tensor(Fixture.Values(dy).columns(columns), [70, 40])
            let partial = try #require(try context.backward(seeds: [(alone, seed)])[x]).floats()
            for i in sum.indices { sum[i] += partial[i] }
            #expect(relativeError(weight.gradientFloats, joined[part].gradientFloats) < type.tolerance)
        }
        #expect(relativeError(dx, sum) < type.tolerance)
    }

    @Test func theResultMayBeF32() throws {
        let fixture = Fixture.one("linear", "plain"), context = Context.forTests(.bf16)
        let x = context.tensor(fixture["x"]), weight = context.parameter(fixture["weight"])
        let y = context.record {
            context.linear(x, [weight], biases: [context.parameter(fixture["bias"])], result: .f32)
        }
        #expect(y.type == .f32)
        #expect(relativeError(y.floats(), fixture["y"].floats) < 1e-2)
        let gradients = try context.gradients(of: y, fixture["dy"])
        #expect(relativeError(try #require(gradients[x]).floats(), fixture["dx"].floats) < 1e-2)
    }

    @Test func weightGradientsAccumulateOverPasses() throws {
        let fixture = Fixture.one("linear", "plain"), context = Context.forTests()
        let weight = context.parameter(fixture["weight"]), bias = context.parameter(fixture["bias"])
        for _ in 0..<3 {
            let y = context.record {
                context.linear(context.tensor(fixture["x"]), [weight], biases: [bias].compactMap(\.self))
            }
            _ = try context.gradients(of: y, fixture["dy"])
        }
        #expect(relativeError(weight.gradientFloats, fixture["dweight"].floats.map { 3 * $0 }) < 2e-6)
        #expect(relativeError(bias.gradientFloats, fixture["dbias"].floats.map { 3 * $0 }) < 2e-6)
    }

    @Test func aParameterIsReportedWhenItsGradientIsComplete() throws {
        let fixture = Fixture.one("linear", "plain"), context = Context.forTests()
        let weight = context.parameter(fixture["weight"]), bias = context.parameter(fixture["bias"])
        var ready: [ObjectIdentifier] = []
        context.parameterIsReady = { ready.append(ObjectIdentifier($0)) }
        let y = context.record {
            context.linear(context.tensor(fixture["x"]), [weight], biases: [bias].compactMap(\.self))
        }
        #expect(ready.isEmpty)
        _ = try context.gradients(of: y, fixture["dy"])
        #expect(ready == [ObjectIdentifier(weight), ObjectIdentifier(bias)])
    }
}
