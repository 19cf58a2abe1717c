
# The services that were built in this workspace: each has a file in its state folder. To ask the tool would compile it where it was edited.
function __fish_cargo_xtask_services
    set -l dir $PWD
    while test -n "$dir"; and not test -d "$dir/STATE_FOLDER/state"
        set dir (string replace -r '/[^/]*$' '' -- $dir)
    end
    for file in $dir/STATE_FOLDER/state/*.json
        string match -qr '\.(inputs|target)\.json$' -- $file; or string replace -r '^.*/(.*)\.json$' '$1' -- $file
    end
end

complete -c cargo-xtask -n '__fish_seen_subcommand_from build plan layers' -f -a '(__fish_cargo_xtask_services)'
complete -c cargo-xtask -n '__fish_seen_subcommand_from cache; and __fish_seen_subcommand_from clear warm' -f -a '(__fish_cargo_xtask_services)'

# `cargo xtask …` is completed as cargo-xtask is above, beside what cargo's own completion says.
function __fish_cargo_xtask_words
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]; and string match -qr '^[-+]' -- $words[1]
        set -e words[1]
    end
    test "$words[1]" = xtask; or return 1
    set -e words[1]
    string escape -- $words; or true
end

function __fish_cargo_xtask_answers
    complete -C (string join ' ' -- cargo-xtask (__fish_cargo_xtask_words) (commandline -ct))
end

complete -c cargo -n '__fish_cargo_xtask_words >/dev/null' -f -a '(__fish_cargo_xtask_answers)'
