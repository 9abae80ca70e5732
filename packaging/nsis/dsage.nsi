; The installer for Windows: for one user, without an administrator's rights. Built by packaging/nsis/build.
; What starts with Windows is written and taken back by the program itself, from the same function as on other systems.
; Python inside is for 64 bits, so the installer is too.
Target amd64-unicode
Name "DSage (preview)"
OutFile "${TARGET}"
InstallDir "$LOCALAPPDATA\Programs\DSage"
RequestExecutionLevel user
SetCompressor /SOLID lzma
ShowInstDetails show
!define UNINSTALL "Software\Microsoft\Windows\CurrentVersion\Uninstall\DSage"

!include MUI2.nsh
!define MUI_WELCOMEPAGE_TITLE "DSage ${VERSION}, a preview for Windows"
!define MUI_WELCOMEPAGE_TEXT "DSage gives this computer's idle time to research.$\r$\n$\r$\n\
This is a preview. On Windows there is no sandbox yet that may hold foreign work, so DSage will not compute here: \
it says so, and waits for a version that can.$\r$\n$\r$\nNothing outside your own account is changed."
!insertmacro MUI_PAGE_WELCOME
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"

Section
  SetOutPath "$INSTDIR"
  ; An older version's files must not mix with these; keys and preferences lie elsewhere.
  RMDir /r "$INSTDIR\python"
  File /r "${TREE}/python"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  CreateDirectory "$SMPROGRAMS\DSage"
  CreateShortcut "$SMPROGRAMS\DSage\DSage.lnk" "$INSTDIR\python\pythonw.exe" "-P -m dsage manager"
  WriteRegStr HKCU "${UNINSTALL}" "DisplayName" "DSage (preview)"
  WriteRegStr HKCU "${UNINSTALL}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegDWORD HKCU "${UNINSTALL}" "EstimatedSize" ${SIZE}
  WriteRegDWORD HKCU "${UNINSTALL}" "NoModify" 1
  WriteRegDWORD HKCU "${UNINSTALL}" "NoRepair" 1
  nsExec::ExecToLog '"$INSTDIR\python\python.exe" -P -m dsage_client.install on'
SectionEnd

Section "Uninstall"
  nsExec::ExecToLog '"$INSTDIR\python\python.exe" -P -m dsage_client.install off'
  RMDir /r "$INSTDIR\python"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  Delete "$SMPROGRAMS\DSage\DSage.lnk"
  RMDir "$SMPROGRAMS\DSage"
  DeleteRegKey HKCU "${UNINSTALL}"
SectionEnd
