import Testing

@testable import TransfusionTelemetry

struct StepConsoleTests {
    @Test func aLineSaysWhatPeopleLookFor() {
        var console = StepConsole(totalSteps: 2000)
        _ = console.line(record(119))
        #expect(
            console.line(record(120)) == """
                step 120/2000 loss 2.31 (image 0.082 text 1.90) gnorm 0.71 lr 3.0e-4 tok/s 5.1k img/s 11 step 2.10s \
                [data 1% comm 9% wait 4%] mfu 41% mem 3.1G eta 1h05m
                """)
    }

    @Test func aBusyMachineStandsWhereItsShareOfThePeakWould() {
        var console = StepConsole(totalSteps: 2000), busy = record(1)
        busy.modelFLOPsUtilization = nil
        busy.othersShare = 0.34
        #expect(console.line(busy).contains("wait 4%] others 34% mem"))
        busy.modelFLOPsUtilization = 0.4
        #expect(console.line(busy).contains("wait 4%] mfu 40% others 34% mem"))
    }

    @Test func theFirstStepIsNoMeasureOfTheOthers() {
        var console = StepConsole(totalSteps: 100)
        var slow = record(1)
        slow.stepSeconds = 60
        #expect(console.line(slow).hasSuffix("eta 1h39m"))
        #expect(console.line(record(2)).hasSuffix("eta 3m25s"))
        #expect(console.line(record(100)).hasSuffix("eta 0s"))
    }

    @Test func spikesStandOut() {
        var console = StepConsole(totalSteps: 1000)
        for step in 1...127 { #expect(!console.line(record(step, loss: step % 2 == 0 ? 1 : 3)).contains("z)")) }
        #expect(console.line(record(128, loss: 9)).contains("loss 9.00 (+5.9z) (image 0.082 text 1.90) gnorm 0.71 lr"))
        #expect(console.line(record(129, loss: .nan)).contains("loss nan (image"))
    }

    @Test func scoresAreThoseOfTheWindow() {
        var window = OutlierWindow(size: 4)
        for value in [100.0, 1, 2, 3] where window.zScore(adding: value) != nil { #expect(value == 3) }
        // The window now holds 1, 2, 3, 6: mean 3, variance 3.5.
        let score = window.zScore(adding: 6)
        #expect(score.map { abs($0 - 3 / 3.5.squareRoot()) < 1e-12 } == true)
        var constant = OutlierWindow(size: 3)
        for _ in 1...5 { #expect(constant.zScore(adding: 0.71) == nil) }
    }
}
