import Testing
import TransfusionTraining
import _TestUtilities

@Suite struct LearningRateScheduleTests {
    /// transformers counts the updates done before, so its value for `n` is ours for step `n − 1`.
    @Test(arguments: Fixture.all("learning_rate")) func agreesWithTransformers(_ fixture: Fixture) {
        let schedule = LearningRateSchedule(
            peak: Double(fixture.scalar("peak")), minimum: Double(fixture.scalar("minimum")),
            warmupSteps: Int(fixture.scalar("warmup")), steps: Int(fixture.scalar("total")))
        for (updates, rate) in zip(fixture["steps"].integers, fixture["rates"].floats) where updates > 0 {
            let found = schedule.learningRate(Int(updates) - 1)
            #expect(abs(found - Double(rate)) <= 1e-6 * schedule.peak, "after \(updates) updates")
        }
    }

    @Test func staysAtTheMinimumAfterTheEnd() {
        let schedule = LearningRateSchedule(peak: 1, minimum: 0.1, warmupSteps: 2, steps: 10)
        #expect(schedule.learningRate(9) == 0.1 && schedule.learningRate(1000) == 0.1)
        #expect(schedule.learningRate(0) == 0.5 && schedule.learningRate(1) == 1)
    }
}
