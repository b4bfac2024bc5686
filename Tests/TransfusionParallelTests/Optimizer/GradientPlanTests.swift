import Testing

@testable import TransfusionParallel

@Suite struct GradientPlanTests {
    /// Six matrices and two vectors, with a gap before the fourth matrix and before the vectors.
    private static let parameters = [
        0..<40_000, 40_000..<40_100, 40_100..<90_000, 90_016..<100_000, 100_000..<100_001, 100_001..<200_003,
        200_016..<200_048, 200_048..<200_080,
    ]

    private func plan(ranks: Int, bucketLength: Int) -> GradientPlan {
        GradientPlan(
            parameters: Self.parameters, vectorStart: 200_016, count: 200_080, ranks: ranks, bucketLength: bucketLength)
    }

    @Test(arguments: [1, 2, 3, 4, 7, 64], [1, 50_000, 1 << 30])
    func bucketsAndPartsCoverEverythingOnce(_ ranks: Int, _ bucketLength: Int) {
        let plan = plan(ranks: ranks, bucketLength: bucketLength)
        let ascending = plan.buckets.map(\.range).sorted { $0.lowerBound < $1.lowerBound }
        #expect(ascending.first?.lowerBound == 0 && ascending.last?.upperBound == 200_080)
        #expect(zip(ascending, ascending.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
        #expect(plan.buckets.reduce(0) { $0 + $1.parameterCount } == Self.parameters.count)
        for bucket in plan.buckets {
            #expect(bucket.offsets.count == ranks + 1)
            #expect(bucket.offsets.first == bucket.range.lowerBound && bucket.offsets.last == bucket.range.upperBound)
            #expect(bucket.offsets == bucket.offsets.sorted())
            #expect((bucket.range.upperBound <= 200_016) != (bucket.range.lowerBound >= 200_016))
        }
    }

    @Test func bucketsComeInTheOrderOfTheBackwardPass() {
        let plan = plan(ranks: 2, bucketLength: 50_000)
        #expect(plan.buckets.map(\.range) == [100_001..<200_016, 40_100..<100_001, 0..<40_100, 200_016..<200_080])
        #expect(plan.bucketOfParameter == [2, 2, 1, 1, 1, 0, 3, 3])
        #expect(plan.buckets.map(\.parameterCount) == [1, 3, 2, 2])
    }

    @Test func chunksDoNotDependOnTheRanks() {
        let plans = [1, 2, 5].map { plan(ranks: $0, bucketLength: 50_000) }
        #expect(plans.allSatisfy { $0.chunks == plans[0].chunks })
        #expect(plans[0].chunks.reduce(0) { $0 + $1.count } == Self.parameters.reduce(0) { $0 + $1.count })
    }

    @Test(arguments: [2, 3, 4]) func partsAreWholeChunksOfNearlyOneSize(_ ranks: Int) {
        let plan = plan(ranks: ranks, bucketLength: 1 << 30)
        let starts = Set(plan.chunks.map(\.lowerBound))
        for bucket in plan.buckets {
            #expect(bucket.offsets.dropFirst().dropLast().allSatisfy { starts.contains($0) })
            for rank in 0..<ranks where bucket.range.count > ranks * GradientPlan.chunkLength {
                let difference = abs(bucket.part(of: rank).count - bucket.range.count / ranks)
                #expect(difference <= GradientPlan.chunkLength)
            }
        }
    }
}
