import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct AdamWTests {
    private static let names = ["matrix", "scale", "bias", "wide"]

    /// The parameters of a fixture at their start, and the optimizer over them.
    private func prepare(
        _ fixture: Fixture, _ context: Context, ranges: (ParameterStore) -> [Range<Int>]? = { _ in nil }
    ) -> (AdamW, ParameterStore) {
        let builder = ParameterBuilder()
        for name in Self.names { _ = builder.parameter(name, fixture[name + ".initial"].shape, .zeros) }
        let store = ParameterStore(builder, type: context.type, allocator: context.allocator) {
            Tensor([$0], .f32, allocator: context.allocator)
        }
        let settings = AdamW.Settings(weightDecay: fixture.scalar("weight_decay"))
        let optimizer = AdamW(
            store, ownedRanges: ranges(store), settings: settings, pool: context.pool, allocator: context.allocator)
        for parameter in store.parameters {
            fixture[parameter.name + ".initial"].floats.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
        return (optimizer, store)
    }

    private func master(_ parameter: Parameter) -> [Float] {
        var values = [Float](repeating: 0, count: parameter.count)
        values.withUnsafeMutableBufferPointer { parameter.readMaster($0, at: 0) }
        return values
    }

    /// Also in bf16, where the weight is kept in two halves, the master weights take the same way.
    @Test(arguments: Fixture.all("adamw"), computingTypes)
    func followsPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let (optimizer, store) = prepare(fixture, context)
        for (step, rate) in fixture["rates"].floats.enumerated() {
            for parameter in store.parameters {
                let gradients = fixture[parameter.name + ".gradients"].floats
                let part = gradients[step * parameter.count..<(step + 1) * parameter.count]
                _ = try #require(parameter.gradient).f32.update(from: part)
            }
            optimizer.update(step: step, learningRate: Double(rate), gradientFactor: 1)
            for parameter in store.parameters {
                let values = fixture[parameter.name + ".values"].floats
                let expected = Array(values[step * parameter.count..<(step + 1) * parameter.count])
                #expect(relativeError(master(parameter), expected) < 1e-6, "\(parameter.name), step \(step)")
                #expect(parameter.gradientFloats.allSatisfy { $0 == 0 })
                if type == .bf16, parameter.isMatrix {
                    // Half of the last place of bf16, whichever way a tie goes.
                    #expect(zip(parameter.value.floats(), expected).allSatisfy { abs($0 - $1) <= abs($1) * 0x1p-8 })
                }
            }
        }
        for parameter in store.parameters {
            for (state, name) in [(AdamW.State.firstMoment, "first_moment"), (.secondMoment, "second_moment")] {
                let found = Array(try #require(optimizer.state(state, of: parameter)))
                #expect(relativeError(found, fixture["\(parameter.name).\(name)"].floats) < 1e-6)
            }
        }
    }

    /// The norm that decides about clipping, and the clipped gradient seen through the first moment it leaves behind.
    @Test(arguments: Fixture.all("clip")) func normAndClippingAgreeWithPyTorch(_ fixture: Fixture) throws {
        let context = Context.forTests()
        let (optimizer, store) = prepare(Fixture.one("adamw", "plain"), context)
        for parameter in store.parameters {
            _ = try #require(parameter.gradient).f32.update(from: fixture[parameter.name].floats)
        }
        let squares = optimizer.squaredNorms(of: [0..<20, 20..<store.count])
        let norm = squares.reduce(0, +).squareRoot()
        #expect(abs(norm / Double(fixture.scalar("norm")) - 1) < 1e-6)
        let factor = min(1, Double(fixture.scalar("limit")) / (norm + 1e-6))
        optimizer.update(step: 0, learningRate: 1e-3, gradientFactor: factor)
        for parameter in store.parameters {
            let moment = Array(try #require(optimizer.state(.firstMoment, of: parameter)))
            let expected = fixture[parameter.name + ".clipped"].floats.map { $0 * 0.1 }
            #expect(relativeError(moment, expected) < 1e-6, "\(parameter.name)")
        }
    }

    /// Any cut of the flat order into ranges of several optimizers gives the bits of one optimizer.
    @Test(arguments: computingTypes, [1, 17, 40, 120]) func rangesAddUpToTheWhole(type: ElementType, cut: Int) throws {
        let fixture = Fixture.one("adamw", "plain"), context = Context.forTests(type)
        let (whole, wholeStore) = prepare(fixture, context)
        let (front, store) = prepare(fixture, context) { _ in [0..<cut] }
        // The second optimizer takes over the rest of the same store; each holds the lower halves of its own range.
        func step(_ store: ParameterStore, _ body: () -> Void) throws {
            for parameter in store.parameters {
                let part = fixture[parameter.name + ".gradients"].floats[..<parameter.count]
                _ = try #require(parameter.gradient).f32.update(from: part)
            }
            body()
        }
        try step(wholeStore) { whole.update(step: 0, learningRate: 1e-2, gradientFactor: 0.5) }
        try step(store) { front.update(step: 0, learningRate: 1e-2, gradientFactor: 0.5) }
        #expect(store.gradients?.f32[..<cut].allSatisfy { $0 == 0 } == true)
        for (mine, other) in zip(store.parameters, wholeStore.parameters) {
            let owned = (0..<cut).clamped(to: mine.offset..<mine.offset + mine.count)
            for index in 0..<mine.count {
                if owned.contains(mine.offset + index) {
                    #expect(master(mine)[index] == master(other)[index])
                } else {
                    let initial = fixture[mine.name + ".initial"].floats[index]
                    #expect(
                        mine.value.floats()[index] == (mine.value.type == .bf16 ? BFloat16(initial).float : initial))
                }
            }
        }
    }

    @Test func thePaperIsTheDefault() {
        #expect(
            AdamW.Settings() == AdamW.Settings(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1))
    }
}
