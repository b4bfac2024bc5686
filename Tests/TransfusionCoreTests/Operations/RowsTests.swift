import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct RowsTests {
    @Test(arguments: Fixture.all("embedding"), computingTypes)
    func embeddingAgreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let weight = context.parameter(fixture["weight"])
        let patches = fixture.values["patches"].map { context.tensor($0) }
        let starts = fixture.values["image_starts"]?.integers ?? []
        let x = try context.record {
            try context.embed(fixture["tokens"].integers, embedding: weight, patches: patches, imageStarts: starts)
        }
        #expect(x.type == .f32)
        #expect(relativeError(x.floats(), fixture["y"].floats) < type.tolerance)
        let gradients = try context.gradients(of: x, fixture["dy"])
        #expect(relativeError(weight.gradientFloats, fixture["dweight"].floats) < type.tolerance)
        if let patches {
            let dpatches = try #require(gradients[patches])
            #expect(dpatches.type == type)
            #expect(relativeError(dpatches.floats(), fixture["dpatches"].floats) < type.tolerance)
        }
    }

    @Test(arguments: computingTypes) func gatheredRowsGiveTheirGradientsBack(type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.normal([6, 10], seed: 1)
        let (first, second) = context.record {
            (context.gather(x, rows: [4, 0]), context.gather(x, rows: [2]))
        }
        let values = x.floats()
        #expect(first.floats() == Array(values[40..<50] + values[0..<10]))
        #expect(second.floats() == Array(values[20..<30]))
        let dfirst = context.normal([2, 10], seed: 2), dsecond = context.normal([1, 10], seed: 3)
        let gradients = try context.backward(seeds: [(first, dfirst), (second, dsecond)])
        let dx = try #require(gradients[x]).floats()
        #expect(
            Array(dx[40..<50]) == Array(dfirst.floats()[..<10]) && Array(dx[0..<10]) == Array(dfirst.floats()[10...]))
        #expect(Array(dx[20..<30]) == dsecond.floats())
        #expect((dx[10..<20] + dx[30..<40] + dx[50..<60]).allSatisfy { $0 == 0 })
    }

    @Test(arguments: computingTypes) func aRowIsAddedToItsGroup(type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.normal([6, 19], seed: 1), addend = context.normal([2, 19], seed: 2)
        let y = context.record { context.addToGroups(x, addend) }
        let xs = Fixture.Values(x), addends = Fixture.Values(addend)
        let expected = (0..<6).flatMap { row in zip(xs.row(row), addends.row(row / 3)).map { $0 + $1 } }
        #expect(relativeError(y.floats(), expected) < type.tolerance)
        let dy = context.normal([6, 19], seed: 3)
        let gradients = try context.backward(seeds: [(y, dy)])
        #expect(try #require(gradients[x]).floats() == dy.floats())
        let dys = Fixture.Values(dy)
        let sums = [0, 3].flatMap { first in
            (0..<19).map { column -> Float in
                dys.floats[first * 19 + column] + dys.floats[(first + 1) * 19 + column]
                    + dys.floats[(first + 2) * 19 + column]
            }
        }
        #expect(relativeError(try #require(gradients[addend]).floats(), sums) < type.tolerance)
    }
}
