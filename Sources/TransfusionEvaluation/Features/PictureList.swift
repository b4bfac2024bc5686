import Foundation
import TransfusionConfig
import TransfusionData
import TransfusionSupport

/// The pictures of a folder, in the order of their names.
struct PictureList {
    let folder: String
    let files: [String]

    private static let sheets: Set = ["sheet.png", "grid.png"]
    private static let most = 200_000

    /// Those that lie in the folder itself, and not in others inside of it.
    /// - Throws: `CommandFailure` when there are fewer than `least`.
    init(_ folder: String, least: Int = 1) throws {
        self.folder = folder
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            throw CommandFailure("\(folder): cannot be listed; is it a folder that you may read?")
        }
        // Beside pictures that were drawn lies one that is made of all of them, for people to look at.
        let isDrawn = names.contains("prompts.jsonl")
        files = names.filter {
            PictureFolder.extensions.contains(Paths.fileExtension(of: $0)) && !(isDrawn && Self.sheets.contains($0))
        }.sorted()
        guard (least...Self.most).contains(files.count) else {
            throw CommandFailure(
                "\(folder): has \(files.count) pictures (.png, .jpg, .webp, .gif); \(least) to \(Self.most) are needed")
        }
    }

    /// - Throws: `DataError` that names the file.
    func picture(_ index: Int) throws -> Picture { try PictureFile.read(Paths.join(folder, files[index])) }
}
