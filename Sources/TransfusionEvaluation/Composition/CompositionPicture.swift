import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionData
import TransfusionSupport

/// A picture that was drawn for a prompt.
struct CompositionPicture {
    let path: String
    /// By its number.
    let prompt: Int

    /// GenEval's name of a prompt's directory, or without `.png` of one of its samples.
    static func number(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }

    /// What a folder holds: GenEval's layout, `NNNNN/metadata.jsonl` and `NNNNN/samples/NNNNN.png`, or pictures beside a `prompts.jsonl`.
    static func list(_ folder: String) throws -> (prompts: [CompositionPrompt], pictures: [CompositionPicture]) {
        let list = Paths.join(folder, "prompts.jsonl")
        if Files.exists(list) { return try named(in: list, folder) }
        let prompts = try names(in: folder).filter { $0.allSatisfy(\.isNumber) && !$0.isEmpty }.sorted()
        guard !prompts.isEmpty else {
            throw CommandFailure(
                "\(folder): holds neither prompts.jsonl nor directories 00000, 00001 …; give one that 'tf-sample image' or "
                    + "'tf-eval composition' has written", .wrongUse)
        }
        var all: (prompts: [CompositionPrompt], pictures: [CompositionPicture]) = ([], [])
        for (number, name) in prompts.enumerated() {
            let directory = Paths.join(folder, name)
            let rows = try JSONRows.read(
                Paths.join(directory, "metadata.jsonl"), limit: 1 << 20, example: CompositionPrompt.example)
            all.prompts.append(try CompositionPrompt(rows[0].members, rows[0].source))
            let samples = Paths.join(directory, "samples")
            let pictures = try names(in: samples).filter {
                $0.hasSuffix(".png") && $0.dropLast(4).allSatisfy(\.isNumber)
            }
            guard !pictures.isEmpty else { throw CommandFailure("\(samples): holds no picture 00000.png …") }
            all.pictures += pictures.sorted().map { CompositionPicture(path: Paths.join(samples, $0), prompt: number) }
        }
        return all
    }

    private static func named(
        in list: String, _ folder: String
    ) throws -> (prompts: [CompositionPrompt], pictures: [CompositionPicture]) {
        let example = #"{"file": "000000.png", "prompt": "two red circles"}"#
        let rows = try JSONRows.read(list, limit: 1 << 30, example: example)
        let pictures = try rows.enumerated().map { number, row in
            guard let file = row.members["file"]?.string, row.members["prompt"]?.string != nil else {
                throw CommandFailure("\(row.source): \"file\" and \"prompt\" must be texts, as in \(example)")
            }
            guard file == Paths.name(of: file), file != ".." else {
                throw CommandFailure("\(row.source): \"file\" must be the name of a picture beside it, not '\(file)'")
            }
            return CompositionPicture(path: Paths.join(folder, file), prompt: number)
        }
        return (rows.map { CompositionPrompt($0.members["prompt"]?.string ?? "") }, pictures)
    }

    private static func names(in folder: String) throws -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            throw CommandFailure("\(folder): cannot be listed; is it a folder that you may read?")
        }
    }
}
