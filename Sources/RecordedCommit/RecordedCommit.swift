// What Plugins/RecordCommit writes before each build, for CVersion. Programs alone depend on this module: a new commit
// compiles it and links them again, and nothing else is built anew.

@_cdecl("tf_recorded_commit") public func recordedCommit() -> UnsafePointer<CChar> { text(commit) }

@_cdecl("tf_recorded_swift_version") public func recordedSwiftVersion() -> UnsafePointer<CChar> { text(swiftVersion) }

private func text(_ text: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}
