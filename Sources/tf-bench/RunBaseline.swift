import TransfusionBenchmarks
import TransfusionConfig

/// Runs the program of --against, whose last line has a key.
func runBaseline<Result: Decodable>(_ command: String, printing key: String) throws -> Result {
    do {
        return try BaselineProgram(command, printing: key).run()
    } catch let failure as CommandFailure {
        throw CommandFailure(failure.lines.map { "--against: \($0)" }, failure.code)
    }
}
